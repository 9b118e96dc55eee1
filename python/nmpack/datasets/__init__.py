# SPDX-License-Identifier: BSD-3-Clause
"""Labelled images to train with."""
