# SPDX-License-Identifier: BSD-3-Clause
"""Files of TFLite models: reading with every byte distrusted, rewriting, and their names."""
