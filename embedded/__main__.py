"""The commands; quiet if Ctrl-C comes while they are still being imported."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from embedded.commands import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
