"""The tape: the device-independent list of operations that a network is lowered to."""
