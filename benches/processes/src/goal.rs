//! What a table should come to, and whether it does.

/// One thing that should hold of a table.
pub struct Goal {
    pub what: String,
    pub came_to: String,
    pub reached: bool,
}

impl Goal {
    pub fn new(what: impl Into<String>, came_to: impl Into<String>, reached: bool) -> Self {
        Self { what: what.into(), came_to: came_to.into(), reached }
    }
}

/// Prints them below their table.
pub fn print(goals: &[Goal]) {
    println!("\n| what should be | came to | |\n|---|---|---|");
    for Goal { what, came_to, reached } in goals {
        println!("| {what} | {came_to} | {} |", if *reached { "reached" } else { "**missed**" });
    }
}
