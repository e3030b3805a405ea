//! What the simulations of all machines share: their seeds, a seed that is run again, and the hunt for planted faults.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A seed to be looked at again, and the fault that is planted in it, by its place in the simulation's list; or how many
/// seeds to run. They are read when the tests are built: this crate looks at no environment.
const SEED: Option<&str> = option_env!("MILENA_SEED");
const BUG: Option<&str> = option_env!("MILENA_BUG");
const SEEDS: Option<&str> = option_env!("MILENA_SEEDS");

/// Whether one seed is looked at again: then a simulation tells what happens.
pub(crate) const IS_REPEATED: bool = SEED.is_some();
/// Seeds within which each planted fault must be found.
const SEEDS_PER_BUG: u64 = 60;

/// What came of each seed. None where one seed was asked for, which has run with its fault. `test` is the name by which
/// a seed that failed is run again.
pub(crate) fn over_seeds<T, B: Copy>(
    test: &str,
    seeds: u64,
    bugs: &[B],
    run: impl Fn(u64, Option<B>) -> T,
) -> Option<Vec<T>> {
    if let Some(seed) = SEED.and_then(|seed| seed.parse().ok()) {
        let planted = BUG.and_then(|at| at.parse::<usize>().ok()).and_then(|at| bugs.get(at).copied());
        run(seed, planted);
        return None;
    }
    let seeds = SEEDS.and_then(|count| count.parse().ok()).unwrap_or(seeds);
    let outcome = |seed| {
        let again = format!("MILENA_SEED={seed} cargo test -p milena-coordinators {test}");
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, None)));
        outcome.unwrap_or_else(|_| panic!("seed {seed} failed; again: {again}"))
    };
    Some((0..seeds).map(outcome).collect())
}

/// Fails where the fault shows in no seed.
pub(crate) fn assert_found<T, B: Copy + Debug>(bug: B, run: impl Fn(u64, Option<B>) -> T) {
    let shows = |seed: &u64| catch_unwind(AssertUnwindSafe(|| run(*seed, Some(bug)))).is_err();
    let seed = (0..SEEDS_PER_BUG).find(shows);
    eprintln!(
        "{bug:?} shows in seed {}",
        seed.unwrap_or_else(|| panic!("{bug:?} stays hidden in {SEEDS_PER_BUG} seeds"))
    );
}

/// One test for each fault, named after it; and one that no fault of the list is left out.
macro_rules! finds {
    ($run:path, $all:path, $($name:ident: $bug:ident,)*) => {
        $(#[test]
        fn $name() {
            $crate::simulated::assert_found(Bug::$bug, $run);
        })*

        #[test]
        fn each_planted_fault_has_its_test() {
            assert_eq!($all, [$(Bug::$bug),*]);
        }
    };
}
pub(crate) use finds;
