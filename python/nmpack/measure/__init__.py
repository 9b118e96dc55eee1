# SPDX-License-Identifier: BSD-3-Clause
"""Times and explanations of models, and of the machine they were measured on."""
