//! The worker of the stack. Settings come from the environment; see `.env.example`.

fn main() -> std::process::ExitCode {
    bifrost_bin::run::main_without_arguments(bifrost_boot::settings::Mode::Jobs)
}
