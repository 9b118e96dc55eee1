# SPDX-License-Identifier: BSD-3-Clause
"""Tuning: time what a convolution may run on, on the machine that it is to run on."""
