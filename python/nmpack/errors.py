# SPDX-License-Identifier: BSD-3-Clause
"""Errors: one base class, and one subclass for each decision that a caller can take."""

from __future__ import annotations


class NmpackError(Exception):
    """Base of every error that nmpack raises on purpose; the message is one sentence for a user."""


class PatternError(NmpackError, ValueError):
    """A pattern is malformed, or does not fit a layer; the message names the layer and the rule."""


class SelectionError(NmpackError, ValueError):
    """A selection of layers matches nothing, or names something that cannot be pruned."""


class ModelError(NmpackError, ValueError):
    """A model file is damaged, hostile, or of a kind that is not understood."""


class MissingError(NmpackError):
    """Something has to be installed, built or fetched first; the message says what and how."""


class InterpreterError(NmpackError):
    """An interpreter or a delegate refused a model or an option, crashed, or ran out of time."""


class MismatchError(NmpackError):
    """Two results that have to agree do not."""
