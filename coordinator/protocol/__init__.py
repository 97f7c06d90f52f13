"""The wire contract (SPEC sections 3 and 4): messages in, messages out, errors. Pure data and codecs, no transport."""
