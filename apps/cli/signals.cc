#include "apps/cli/signals.h"

#include <unistd.h>

#include <csignal>
#include <cstring>

namespace lowkey::cli {
namespace {

// A signal handler can reach nothing but globals.
volatile std::sig_atomic_t g_interrupted = 0;
volatile std::sig_atomic_t g_waiting = 0;  // nothing is being done that could end first

void on_interrupt(int signal) {
  if (g_interrupted != 0 || g_waiting != 0) _exit(128 + signal);
  g_interrupted = 1;
}

void on_bus_error(int) {
  constexpr char kMessage[] = "lowkey: a model file became shorter while it was in use; restore it and start again\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, std::strlen(kMessage));
  _exit(1);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  handle(SIGINT, on_interrupt);
  handle(SIGTERM, on_interrupt);
  handle(SIGBUS, on_bus_error);
}

bool interrupted() noexcept { return g_interrupted != 0; }

void wait_for_input(bool waiting) noexcept {
  g_interrupted = 0;
  g_waiting = waiting ? 1 : 0;
}

}  // namespace lowkey::cli
