# SPDX-License-Identifier: BSD-3-Clause
"""Other inference runtimes beside ours: the same network, one interleaved run."""

from nmpack.peers.comparison import compare_peers
from nmpack.peers.report import PeerReport, PeerTiming

__all__ = ["PeerReport", "PeerTiming", "compare_peers"]
