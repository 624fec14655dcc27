"""What every test shares."""

import os

from hypothesis import HealthCheck, settings

# Two cores for several test processes: one thread each, or they would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Read when TensorFlow is first imported, by whichever test comes first: QKeras and Larq are written for Keras 2.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# A slow machine is no failure; the same examples every time, so that a failure is seen again.
settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
