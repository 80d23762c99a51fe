"""What all tests share. Threads that spin would make each test's torch starve the others."""

from engine.threads import let_waiting_threads_sleep

let_waiting_threads_sleep()
