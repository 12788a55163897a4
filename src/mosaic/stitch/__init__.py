"""From tile programs to fewer kernels: legality, attachments, inlining, costs, and the plan of what to fuse."""
