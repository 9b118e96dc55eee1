# SPDX-License-Identifier: BSD-3-Clause
"""What is kept: patterns, masks, schedules, the choice of layers; no framework is imported."""
