"""Speed and memory targets: each module is a command that prints its figure and the target.

    python -m tests.bench.count       counting 10,000 designs
    python -m tests.bench.build       building the paper's 16 graphs
    python -m tests.bench.startup     --help, count of one cell, rebuild of 16, and pick on 5,000
    python -m tests.bench.scale       count --csv of 100,000 designs; 500,000 blocks rebuilt and resumed, and the memory
    python -m tests.bench.grid        a whole quick grid against a plain script, and its memory
    python -m tests.bench.exported    our graph against torch's, interleaved
    python -m tests.bench.padding     zero-padded channels against the paper's (ten minutes)
    python -m tests.bench.precision   our int8 recipe against others, deployments against OpenVINO's own tool
    python -m tests.bench.explore     how well 20 measurements predict the others, and what a verified pick loses
                                      (half an hour)
    python -m tests.bench.explore_offline  exploring now against before, on committed data and simulated machines
    python -m tests.bench.transfer    5 measurements and another machine's models against 20 without a prior
    python -m tests.bench.prior       not a figure: writes the package's prior from the committed runs
    python -m tests.bench.retest      repeated sweeps against one-after-another timing; time to settle; overhead
                                      (--disturbed: beside two noisy neighbours; --against PROGRAM: another version)
    python -m tests.bench.truth       the sweep against an independent loop
    python -m tests.bench.certain     what a default sweep calls certain, against a sweep of ten times its length
    python -m tests.bench.warm_up     first kept blocks against later ones, for each runtime and precision
    python -m tests.bench.own_program what a plain session sees against the session that is measured
    python -m tests.bench.coverage    intervals on a simulated machine (long)
    python -m tests.bench.crash       220 kills (long)
    python -m tests.bench.weights     importing: time and memory; real against random values; forms of integers against LiteRT
    python -m tests.bench.peers       what `pick` takes, over all runtimes, against each runtime's own defaults
    python -m tests.bench.parity      imported Keras files against Keras itself, 16 sizes
    python -m tests.bench.evaluate    evaluating against a plain torch DataLoader, and how busy the session is
    python -m tests.bench.train       training against a plain loop with DataLoader, and how busy torch is
    python -m tests.bench.train_crash trainings that are killed and continued, bit for bit
    python -m tests.bench.distil      a student with and without a teacher (minutes)
    python -m tests.bench.share       one training for several resolutions against one for each (minutes)
    python -m tests.bench.finetune    real photographs: fine-tuned against from scratch
    python -m tests.bench.overfit     every task on twenty pictures that it sees again and again (minutes)
    python -m tests.bench.applications  not a figure: draws results/reference/applications.png
    python -m tests.bench.compare     false and missed verdicts, simulated and here; one thing with itself; files against a loop
    python -m tests.bench.duet        both sides at once on two CPUs, against taking turns on one
    python -m tests.bench.page        the page in a browser: picks, keys, scripts off, hostile texts, axe, size, speed
    python -m tests.bench.fleet       kills over OpenSSH and Dask, overhead, 200 machines, two trainers (see its docstring)
    python -m tests.bench.fuzz        damaged results folders and argument lists (long)
    python -m tests.bench.fuzz_import mutated files of trained networks

Run one at a time on a machine that does nothing else. Exit status 1: a target was missed.
"""
