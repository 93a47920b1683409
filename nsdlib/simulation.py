"""The settings of a simulated subject, the section `simulation` of a parameter file."""

from typing import Annotated, Literal

from pydantic import Field

from nsdlib.strict import Strict

Edge = Annotated[int, Field(ge=8, le=256)]


class Simulation(Strict):
    """Settings of a simulated subject; everything `nsdlib.twin.simulate` writes follows from them and the run's subject."""

    shape: tuple[Edge, Edge, Edge] = Field((26, 30, 22), description="voxels left-right, back-front, bottom-top")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(1, description="the one seed of the subject, not the run's")
    kind: Literal["nsd_like", "easy"] = Field(
        "nsd_like", description="levels as measured in NSD, or white noise, one-hot meaning and no sessions"
    )
    quality: Annotated[float, Field(gt=0)] = Field(1.0, description="factor on signal-to-noise; 1 is NSD's subject 1")
    unseen: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="share of test scenes whose main kind, its colour and background no training scene has"
    )
