package import Losses

// Masses at T = 1 for what people and other programs read: the same bits on every machine.

extension TeacherBatch {
  /// The head's mass as a multiple of the first class's, at T = 1.
  package func headSum(_ row: Int) -> Double {
    var sum = 0.0
    for rank in 0..<k { sum += exactExp(-Double(gaps[row * k + rank])) }
    return sum
  }

  /// The tail's mass as a multiple of the head's, at T = 1; 0 when k == C.
  package func tailRatio(_ row: Int) -> Double {
    k < classes ? exactExpOfEitherSign(logTailRatio(row: row, temperature: 1)) : 0
  }
}
