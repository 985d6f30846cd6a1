//! The clap command: the flags of [`Args`] in their order, help and version.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::args::{Args, HELP};

/// The clap command. Reads the environment.
pub(super) fn command() -> Command {
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version);
    Args::command()
        // One sentence below the options replaces a line in each.
        .mut_args(|argument| argument.hide_env(true))
        .mut_args(in_order())
        .arg(help(HELP))
        .arg(version.help_heading(HELP).help("Print the version"))
}

/// The flag for help, below a heading.
pub(super) fn help(heading: &'static str) -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help_heading(heading)
        .help("Print help; --help adds explanations")
}

/// Keeps arguments in their declared order; clap would put ROOT last.
pub(super) fn in_order() -> impl FnMut(Arg) -> Arg {
    let mut order = 0;
    move |argument| {
        order += 1;
        argument.display_order(order)
    }
}
