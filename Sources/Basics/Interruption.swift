import Glibc

/// Whether somebody asked the program to stop (SIGINT or SIGTERM).
///
/// Long loops ask between units of work, finish what they hold and throw
/// `Interruption.problem`, so that nothing done is lost.
public enum Interruption {
  // Written by the signal handler only; a torn read of one byte cannot happen.
  private nonisolated(unsafe) static var flag: sig_atomic_t = 0

  /// Catches the first SIGINT or SIGTERM; a second one ends the program at once.
  public static func install() {
    for signalNumber in [SIGINT, SIGTERM] {
      signal(signalNumber) { number in
        Interruption.flag = 1
        signal(number, SIG_DFL)
      }
    }
  }

  /// Whether the program was asked to stop.
  public static var isRequested: Bool { flag != 0 }

  /// The error that ends an interrupted command: exit code 75.
  public static func problem(after done: String) -> Problem {
    Problem(.interrupted, "interrupted after \(done); run the same command again to go on")
  }
}
