// Signals. Ctrl-C asks the job to end after its current step; a second one ends the process at once. SIGBUS, which a
// mapped file that another process cut short raises, ends it with one clear line instead of silently.
#pragma once

namespace lowkey::cli {

void install_signal_handlers();
bool interrupted() noexcept;

}  // namespace lowkey::cli
