"""Differences, and the table of the largest ones."""

import math


def relative(found, expected, unit=None):
    """‖found - expected‖ / ‖unit‖ in the 2-norm, in float64; the unit is `expected` unless given. Infinite for other
    shapes and for what is no number."""
    if found.shape != expected.shape:
        return math.inf
    distance = (found.double() - expected.double()).norm().item()
    size = (expected if unit is None else unit).double().norm().item()
    if distance == 0:
        return 0.0
    return distance / size if size > 0 and math.isfinite(distance) else math.inf


class Table:
    """One line per thing that is compared: its largest difference, and what it may be."""

    def __init__(self):
        self.failed = False

    def line(self, what, differences, allowed):
        """differences: {where: difference}; shows the largest and where it is."""
        where, largest = max(differences.items(), key=lambda item: math.inf if item[1] != item[1] else item[1])
        good = largest <= allowed
        self.failed = self.failed or not good
        where = f"  at {where}" if where else ""
        print(f"{what:<46} {largest:10.2e}  <= {allowed:.0e}  {'ok' if good else 'DIFFERS'}{where}", flush=True)

    def equal(self, what, found, expected):
        """Lists that have to be the same."""
        same = sum(a == b for a, b in zip(found, expected))
        good = same == len(expected) == len(found)
        self.failed = self.failed or not good
        print(f"{what:<46} {same:>6} of {len(expected)} equal   {'ok' if good else 'DIFFERS'}", flush=True)
