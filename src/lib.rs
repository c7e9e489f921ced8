//! PD-Loss (proxy-decidability), arXiv 2508.17082.
