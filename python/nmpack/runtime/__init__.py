# SPDX-License-Identifier: BSD-3-Clause
"""Interpreters with and without our delegate: in this process, in another, under an emulator."""
