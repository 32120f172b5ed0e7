"""Three graphs: one customer turn, the life of one action, and the plan-act-observe-evaluate loop."""
