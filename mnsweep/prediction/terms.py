"""The terms of the latency model, in order, with the unit of each one's coefficient. Needs no numpy."""

MULT_ADDS, BYTES, RUNS = "ns per mult-add", "ns per byte", "ns"
BLOCKS = {"fours": 4, "eights": 8, "sixteens": 16}  # channel multiples that blocked kernels need
OF_ALL = {  # every network has work of these
    "stem": MULT_ADDS,
    "depthwise": MULT_ADDS,
    "pointwise": MULT_ADDS,
    "head": MULT_ADDS,
    "maps": BYTES,
    "weights": BYTES,
}
UNITS = {
    **OF_ALL,
    **{f"{kind} off {name}": MULT_ADDS for kind in ("depthwise", "pointwise") for name in BLOCKS},
    "constant": RUNS,
}
TERMS = tuple(UNITS)
