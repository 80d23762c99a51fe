"""What all tests share. Threads that spin would make each test's torch starve the others, and how
long an example of hypothesis takes says something about the machine only.
"""

from hypothesis import HealthCheck, settings

from engine.threads import let_waiting_threads_sleep

let_waiting_threads_sleep()
settings.register_profile("headrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")
