# SPDX-License-Identifier: BSD-3-Clause
"""What a model executes on RISC-V with vectors: counted under QEMU, and cycles modelled.

``profile`` reads the counts, ``isa`` and ``elf`` say what the code is, ``traces`` cuts it into
pieces that run in one go, ``mca`` prices them, ``account`` adds up, ``variants`` and ``measure``
run a model, ``report`` and ``baseline`` say what came out.
"""
