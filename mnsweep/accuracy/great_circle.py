"""Distances on the globe, and the shares of pictures placed within the paper's five distances (Table 11)."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]
RADIUS_KM = 6371.0088  # mean radius of the Earth (IUGG)
WITHIN_KM = {"street": 1, "city": 25, "region": 200, "country": 750, "continent": 2500}


def great_circle_km(places: Numbers, others: Numbers) -> Numbers:
    """(n,) great-circle distances in km between (n, 2) latitudes and longitudes in degrees, by the haversine formula."""
    (lat, lon), (lat2, lon2) = np.radians(places).T, np.radians(others).T
    half = np.sin((lat2 - lat) / 2) ** 2 + np.cos(lat) * np.cos(lat2) * np.sin((lon2 - lon) / 2) ** 2
    found: Numbers = 2 * RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    return found


def shares_within(distances_km: Numbers) -> dict[str, float]:
    """The shares of pictures in % within 1, 25, 200, 750 and 2,500 km, by keys like `within_25km_pct`."""
    return {f"within_{km}km_pct": 100 * float((distances_km <= km).mean()) for km in WITHIN_KM.values()}
