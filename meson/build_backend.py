# SPDX-License-Identifier: BSD-3-Clause
"""What pip asks to build nmpack: meson-python for archives, setuptools for a tree in place.

A tree in place is Python alone: its programs are built by scripts/setup.sh below build/, where the
package finds them. meson-python would build them a second time, and look at every import whether
something has changed.
"""

from __future__ import annotations

from typing import Any


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    import mesonpy

    return mesonpy.get_requires_for_build_wheel(config_settings)


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    import mesonpy

    return mesonpy.build_wheel(wheel_directory, config_settings, metadata_directory)


def get_requires_for_build_sdist(config_settings: dict[str, Any] | None = None) -> list[str]:
    import mesonpy

    return mesonpy.get_requires_for_build_sdist(config_settings)


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    import mesonpy

    return mesonpy.build_sdist(sdist_directory, config_settings)


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    return ["setuptools>=77"]


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    from setuptools import build_meta

    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
