"""The codes of the built-in cohort: how each follows from the state of four organ systems.

A subject has a state x_k(t) for each organ system k (circulation, lungs, kidneys, consciousness
and inflammation): 0 is the average patient of the cohort, 1 is one standard deviation sicker.
A numeric code is a transformed linear reading of it, with a subject's own baseline b and noise e:

    y = loads . x(t) + own * b + noise * e          b, e ~ N(0, 1)
    value = center + spread * y                     ("linear")
    value = center * exp(spread * y)                ("log")
    value = center + spread * sign(b) * log(1 + e^y)    ("both": leaves the middle either way,
                                                        as temperature does)

rounded to the resolution of the device and cut to what is physically possible. A code is measured
in a set with probability sigmoid(logit(p) + care * mean(x(t))), so that the sick are seen more.
The figures are textbook ranges of adult intensive care; they are fitted to no data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ORGANS = ("circulation", "lungs", "kidneys", "inflammation")
Panel = Literal["static", "chart", "lab", "gas", "given"]


@dataclass(frozen=True)
class Code:
    """One variable of the cohort.

    Attributes:
        name: Its unit stands above the group below.
        panel: When it is looked at: at charting, at a laboratory draw, a blood gas, when given.
        share: Probability p of being measured in a set of its panel at average state.
        loads: Weight of each organ system in y, in the order of ORGANS.
        center, spread: Units of the code.
        lowest, highest, resolution: Units of the code.
        shape: How y becomes a value.
        own, noise: Weights of the subject's baseline and of the measurement's noise.
        care: How much more often the sick are measured, logit a standard deviation.
    """

    name: str
    panel: Panel
    share: float
    loads: tuple[float, float, float, float]
    center: float = 0.0
    spread: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    resolution: float = 1.0
    shape: Literal["linear", "log", "both", "presence"] = "linear"
    own: float = 0.9
    noise: float = 0.6
    care: float = 0.1


# beats/min, mmHg, breaths/min, %, degrees C, points, mL, kg
VITALS = (
    Code("Heart rate", "chart", 0.85, (0.3, 0.2, 0, 0.3), 86, 15, 20, 220),
    Code("Systolic blood pressure", "chart", 0.75, (-0.5, 0, 0.1, -0.2), 121, 18, 40, 260),
    Code("Diastolic blood pressure", "chart", 0.75, (-0.4, 0, 0, -0.2), 61, 11, 15, 160),
    Code("Mean arterial pressure", "chart", 0.70, (-0.5, 0, 0, -0.2), 80, 13, 25, 190),
    Code("Respiratory rate", "chart", 0.55, (0.1, 0.5, 0.1, 0.2), 19, 4.5, 4, 60),
    Code("Oxygen saturation", "chart", 0.50, (0, -0.5, 0, -0.1), 96.5, 2.2, 60, 100),
    Code("Temperature", "chart", 0.30, (0, 0, 0, 0.6), 37, 0.7, 31, 42, 0.1, "both"),
    Code("Glasgow coma scale", "chart", 0.20, (-0.2, -0.1, -0.1, -0.2), 12, 3, 3, 15),
    Code("Urine output", "chart", 0.45, (-0.3, 0, -0.6, 0), 90, 0.7, 0, 1500, 5, "log"),
    Code("Weight", "chart", 0.03, (0, 0, 0.1, 0), 80, 18, 35, 220, 0.1, own=1.0, noise=0.05),
    Code(
        "Inspired oxygen fraction",
        "chart",
        0.14,
        (0, 0.6, 0, 0.1),
        0.45,
        0.28,
        0.21,
        1,
        0.05,
        "log",
    ),
    Code("PEEP", "chart", 0.10, (0, 0.5, 0, 0), 6, 2.2, 0, 22),
)
# mmHg, mmol/L, mg/dL, %, 10^9/L, g/dL, ng/mL
LABS = (
    Code("pH", "gas", 0.95, (-0.2, -0.3, -0.3, -0.1), 7.38, 0.07, 6.8, 7.7, 0.01),
    Code("PaCO2", "gas", 0.95, (0, 0.4, -0.2, 0), 40, 8, 15, 110),
    Code("PaO2", "gas", 0.95, (0, -0.5, 0, 0), 110, 0.35, 30, 500, 1, "log"),
    Code("Lactate", "gas", 0.45, (0.5, 0.1, 0.1, 0.3), 1.8, 0.5, 0.3, 25, 0.1, "log", care=0.3),
    Code("Bicarbonate", "lab", 0.80, (-0.2, 0, -0.4, -0.1), 23.5, 4, 5, 48),
    Code("Creatinine", "lab", 0.80, (0.1, 0, 0.7, 0), 1.1, 0.5, 0.2, 15, 0.1, "log", own=1.0),
    Code("Urea nitrogen", "lab", 0.80, (0.2, 0, 0.6, 0.1), 22, 0.55, 3, 180, 1, "log", own=1.0),
    Code("Sodium", "lab", 0.80, (0, 0, 0.1, 0), 139, 4.5, 110, 170, own=1.1),
    Code("Potassium", "lab", 0.85, (0, 0, 0.4, 0), 4.1, 0.5, 2, 8.5, 0.1),
    Code("Glucose", "lab", 0.75, (0.1, 0, 0, 0.3), 130, 0.3, 25, 800, 1, "log"),
    Code("Hematocrit", "lab", 0.75, (-0.3, 0, -0.1, -0.1), 31, 5, 12, 60, 0.1),
    Code("White cells", "lab", 0.70, (0, 0.1, 0, 0.5), 11, 0.45, 0.2, 90, 0.1, "log"),
    Code("Platelets", "lab", 0.70, (0, 0, 0, -0.3), 190, 0.5, 5, 1000, 1, "log", own=1.1),
    Code("Bilirubin", "lab", 0.20, (0.2, 0, 0.1, 0.3), 0.8, 0.8, 0.1, 40, 0.1, "log", care=0.3),
    Code("Albumin", "lab", 0.15, (-0.1, 0, -0.1, -0.5), 3, 0.6, 1, 5.5, 0.1, own=1.1),
    Code("Troponin", "lab", 0.12, (0.6, 0, 0.1, 0), 0.15, 1.3, 0.01, 50, 0.01, "log", care=0.3),
)
# presence only: a dose or an act, without a number
GIVEN = (
    Code("Vasopressor", "given", 0.03, (0.8, 0, 0, 0.3), shape="presence"),
    Code("Sedation", "given", 0.04, (0, 0.8, 0, 0.2), shape="presence"),
    Code("Fluid bolus", "given", 0.03, (0.6, 0, 0.1, 0.3), shape="presence"),
    Code("Antibiotic dose", "given", 0.03, (0, 0.2, 0, 0.7), shape="presence"),
    Code("Transfusion", "given", 0.01, (0.5, 0, 0, 0.1), shape="presence"),
    Code("Dialysis", "given", 0.002, (0.1, 0, 1.6, 0), shape="presence"),
)
MEASURED = (*VITALS, *LABS, *GIVEN)
VENTILATION = "Mechanical ventilation"  # binary
RHYTHM = "Heart rhythm"  # 0 sinus, 1 atrial fibrillation, 2 paced, 3 ventricular
VENTILATOR_MODE = "Ventilator mode"  # 0 none, 1 support, 2 controlled
STATIC = ("Age", "Gender", "Height", "ICU type")  # years, 0 or 1, cm, 0 to 3
CODES = (*STATIC, *(code.name for code in MEASURED), VENTILATION, RHYTHM, VENTILATOR_MODE)
