//! A simulation: the real scheduler on a stage where everything else is made of chance, thousands of times.
//!
//! One seed is one run: which mail comes, what the spawners answer, who goes on when, when the power fails or a program dies, who
//! sets the clock. A run that fails names its seed.
//!
//! `QMAIL_SIM_SEED=N` runs one seed and shows its log; `QMAIL_SIM_RUNS=N` sets how many are run.
//!
//! Source  docs/crash.md, "Simulation"; docs/decisions/0012-simulation.md

mod chance;
mod cleaner;
mod disk;
mod judge;
mod life;
mod numbers;
mod post;
mod scene;
mod spawner;
mod stage;
mod story;
mod tests;
