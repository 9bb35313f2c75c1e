"""What a run will take on machines that are not here: memory, time, chips.

Experiment, slice --programs--> lowered stages --compiler--> memory, collectives
Experiment, slice --estimate--> memory by part --search----> wave and microbatch
Experiment, slice --roofline--> seconds of each stage
"""
