# SPDX-License-Identifier: BSD-3-Clause
"""The demonstration: ``python -m nmpack.demo`` (``scripts/demo.sh`` does the set-up first)."""
