"""The tape: what a network is lowered to, and what it is made of. No device owns it."""
