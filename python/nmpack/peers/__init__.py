# SPDX-License-Identifier: BSD-3-Clause
"""Other inference runtimes beside ours: the same network, one interleaved run."""
