# SPDX-License-Identifier: BSD-3-Clause
"""What the scripts share. Standard library only: they run before anything is installed."""
