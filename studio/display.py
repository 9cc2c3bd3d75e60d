"""Whether a window can be shown here, asked before Qt is: where it cannot, Qt ends the whole process with a core dump.

The question goes to the libraries that Qt itself would use, so sockets, addresses and permissions are judged as Qt
will judge them; it takes a millisecond or two.
"""

from __future__ import annotations

import ctypes
import os
import sys


def why_no_window() -> str:
    """What is in the way of a window, without a full stop; empty where nothing is known to be."""
    if not sys.platform.startswith("linux"):
        return ""
    asked = os.environ.get("QT_QPA_PLATFORM", "")
    problems = [_problem(name.partition(":")[0]) for name in (asked.split(";") if asked else _usual())]
    if not problems:
        return "there is no display for the window (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    return "" if "" in problems else "; ".join(problems)  # Qt takes the first platform that works


def _usual() -> list[str]:
    """The platforms that Qt tries by itself."""
    wayland = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("WAYLAND_SOCKET")
    return [name for name, there in (("wayland", wayland), ("xcb", os.environ.get("DISPLAY"))) if there]


def _problem(platform: str) -> str:
    """Why a platform of Qt's cannot be used; empty where it can, and for those that need no display."""
    try:
        if platform == "xcb" and not _x11_answers():
            return f"the display does not answer (DISPLAY is {os.environ.get('DISPLAY') or 'not set'})"
        if platform.startswith("wayland") and not _wayland_answers():
            return f"Wayland does not answer (WAYLAND_DISPLAY is {os.environ.get('WAYLAND_DISPLAY') or 'not set'})"
    except OSError as error:
        return f"a library for the window is missing ({error})"
    return ""


def _x11_answers() -> bool:
    ctypes.CDLL("libxcb-cursor.so.0")  # Qt's platform needs it and many systems lack it
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))  # never null: what failed has an error
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not failed


def _wayland_answers() -> bool:
    if os.environ.get("WAYLAND_SOCKET"):
        return True  # a connection handed down by the parent; it can be used once, and Qt is to have it
    wayland = ctypes.CDLL("libwayland-client.so.0")
    wayland.wl_display_connect.restype = ctypes.c_void_p
    display = wayland.wl_display_connect(None)
    if display:
        wayland.wl_display_disconnect(ctypes.c_void_p(display))
    return bool(display)
