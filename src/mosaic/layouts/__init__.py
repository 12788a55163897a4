"""How tiles lie in threads, registers and shared memory."""
