# SPDX-License-Identifier: BSD-3-Clause
"""int8 networks as plain C for microcontrollers."""
