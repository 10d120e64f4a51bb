"""Runs llamlx as someone at a terminal does."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time

from command_line import PROGRAM

PATIENCE_S = 60


class Screen:
    """The program on a terminal of its own: what it shows, what is typed.

    Files given as `stdin` and `stdout` take the terminal's place there.
    """

    def __init__(self, *arguments, **files):
        self._leader, follower = pty.openpty()
        self.shown = ""
        streams = dict.fromkeys(["stdin", "stdout", "stderr"], follower)
        self._process = subprocess.Popen(
            [PROGRAM, *map(str, arguments)],
            **{**streams, **files},
            env=dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm", NO_COLOR="1"),
            preexec_fn=self._take_terminal(follower),
            start_new_session=True,
        )
        os.close(follower)

    @staticmethod
    def _take_terminal(follower):
        def take():
            # Where Ctrl-C goes.
            fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

        return take

    def wait_for(self, text, after=0):
        """Waits until `text` is shown, at or after a place on the screen.
        Returns the place behind it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown[after:]:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
        return self.shown.index(text, after) + len(text)

    def type(self, text):
        os.write(self._leader, text.encode())

    def end(self):
        """Waits for the end; returns the exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        status = self._process.wait(timeout=PATIENCE_S)
        os.close(self._leader)
        return status

    def _read(self, deadline):
        left = max(0, deadline - time.monotonic())
        if not select.select([self._leader], [], [], left)[0]:
            self._process.kill()
            return False
        try:
            part = os.read(self._leader, 4096)
        except OSError:  # Linux's way of saying that the terminal was closed
            part = b""
        self.shown += part.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)
