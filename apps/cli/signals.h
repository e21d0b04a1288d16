// Signals. Ctrl-C asks the job to end after its current step; a second one ends the process at once. SIGBUS, which a
// mapped file that another process cut short raises, ends it with one clear line instead of silently.
#pragma once

namespace lowkey::cli {

void install_signal_handlers();
bool interrupted() noexcept;
// While a program waits for a line, one Ctrl-C ends it. Forgets a Ctrl-C that ended the job before.
void wait_for_input(bool waiting) noexcept;

}  // namespace lowkey::cli
