"""Rows of the comparison, and the table that is made of them. Standard library
alone."""

import statistics
from dataclasses import asdict, dataclass


def digits(value):
    """Returns a number with three digits or more, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


@dataclass
class Row:
    """One promise, or one comparison without any.

    `value` is what a promise is about: how many times as fast llamlx is, or a
    share, or a time. It is to reach `promise`, or, if `at_most`, to stay below.
    """

    name: str
    rival: str = ""
    llamlx: str = ""  # Measured, with its unit.
    rivals: str = ""
    value: float | None = None
    unit: str = "x"
    promise: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def met(self):
        """yes, no, or - where there is nothing to meet."""
        if self.promise is None:
            return "-"
        if self.value is None:
            return "no"
        reached = (
            self.value <= self.promise
            if self.at_most
            else self.value >= self.promise
        )
        return "yes" if reached else "no"

    def document(self):
        return asdict(self) | {"met": self.met}

    def cells(self):
        sign = "<=" if self.at_most else ">="
        return [
            self.name,
            self.llamlx,
            f"{self.rival} {self.rivals}".strip(),
            "" if self.value is None else digits(self.value) + self.unit,
            (
                ""
                if self.promise is None
                else f"{sign} {digits(self.promise)}{self.unit}"
            ),
            self.met,
            self.note,
        ]


HEADINGS = ["row", "llamlx", "rival", "ratio", "promised", "met", "note"]


class Samples:
    """What the rounds measured of each contestant, and what went wrong."""

    def __init__(self):
        self._values = {}
        self._errors = {}

    def add(self, who, value):
        self._values.setdefault(who, []).append(value)

    def fail(self, who, reason):
        self._errors[who] = str(reason)

    def median(self, who):
        """Returns the median, None if there is none."""
        values = self._values.get(who)
        return statistics.median(values) if values else None

    def ratio(self, who, other):
        """Returns how many times as much `who` has as `other`, None if unknown.

        Of each round, as a machine is another in the next, and of those the
        median; of the medians where one of the two ran in fewer rounds.
        """
        ours = self._values.get(who, [])
        theirs = self._values.get(other, [])
        if not ours or not theirs:
            return None
        if len(ours) != len(theirs):
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(a / b for a, b in zip(ours, theirs))

    def error(self, who):
        """Returns why somebody has no median, or fewer rounds; or ''."""
        return self._errors.get(who, "")

    def document(self):
        return [
            {"who": " ".join(who), "values": values}
            for who, values in self._values.items()
        ]


def text_table(rows):
    """Returns the rows in columns, for a terminal."""
    table = [HEADINGS] + [row.cells() for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(cells, widths)).rstrip()
        for cells in table
    )


def markdown_table(rows):
    """Returns the rows as a table of Markdown."""
    table = [HEADINGS, ["---"] * len(HEADINGS)]
    table += [row.cells() for row in rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        for cells in table
    )
