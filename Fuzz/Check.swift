import LogitCache
import Losses

/// Made when first needed: shapes with many classes take a while.
nonisolated(unsafe) private var subjects = [Subject?](repeating: nil, count: Shape.all.count)

private func subject(_ index: Int) throws -> Subject {
  if let known = subjects[index] { return known }
  let made = try Subject(Shape.all[index])
  subjects[index] = made
  return made
}

/// The whole test of one input.
///
/// It is refused with `Problem(.corrupt)`, or gives records in range which the writer would store in one way
/// only, and which that way gives back. Any calibration gives the same records, apart from a subspace tail.
///
/// - Returns: whether the input was accepted.
@discardableResult
func check(_ input: [UInt8]) throws -> Bool {
  guard input.count >= 2 else { return false }
  let subject = try subject(Int(input[0]) % Shape.all.count)
  let mode = Mode.allCases[Int(input[1]) % Mode.allCases.count]
  guard var question = try subject.question(Array(input[2...]), mode),
    let (content, batch) = try subject.decode(question)
  else {
    return false
  }
  checkRanges(batch)
  checkFullRows(batch, question.calibration.axes)
  question.value = try subject.value(ofCanonical: content.writtenAgain)
  guard let (again, same) = try subject.decode(question) else {
    preconditionFailure("records that were read cannot be read after they were written again")
  }
  precondition(
    again.canonicalBytes == content.writtenAgain, "other bytes were decoded than were given")
  precondition(again.writtenAgain == content.writtenAgain, "records are not written in one way")
  checkEqual(batch, same)
  precondition(
    batch.coefficients == same.coefficients && batch.rowOffsets == same.rowOffsets,
    "subspace tails differ that should be equal")
  if mode == .calibration {
    guard let (_, sound) = try subject.decode(subject.soundQuestion) else {
      preconditionFailure("the sound block is refused")
    }
    checkEqual(batch, sound)
  }
  return true
}

private func checkRanges(_ batch: TeacherBatch) {
  let classes = Int32(batch.classes)
  for id in batch.classIDs { precondition((0..<classes).contains(id), "class \(id)") }
  for label in batch.labels { precondition((0..<classes).contains(label), "label \(label)") }
  for rank in batch.labelRanks { precondition((0..<classes).contains(rank), "rank \(rank)") }
  for row in 0..<batch.count {
    let head = Array(batch.classIDs[row * batch.k..<(row + 1) * batch.k])
    precondition(Set(head).count == batch.k, "row \(row) has classes \(head)")
    let rank = Int(batch.labelRanks[row])
    precondition(
      head.firstIndex(of: batch.labels[row]) == (rank < batch.k ? rank : nil),
      "label \(batch.labels[row]) of rank \(rank) and classes \(head)")
    checkRanking(batch, row, head)
    var last: Float = 0
    for gap in batch.gaps[row * batch.k..<(row + 1) * batch.k] {
      precondition(gap >= last && gap.isFinite, "gap \(gap) after \(last)")
      last = gap
    }
    let label = batch.labelGaps[row]
    precondition(label >= 0 && label.isFinite, "label gap \(label)")
    precondition(batch.largestLogits[row].isFinite, "largest logit \(batch.largestLogits[row])")
  }
  for ratio in batch.logTailRatios { precondition(ratio.isFinite, "ratio \(ratio)") }
  for norm in batch.featureNorms { precondition(norm >= 0 && norm.isFinite, "norm \(norm)") }
}

/// A ranking is an order of all classes, the head first, with the label where its rank says.
private func checkRanking(_ batch: TeacherBatch, _ row: Int, _ head: [Int32]) {
  guard batch.hasRanking else { return }
  let order = Array(batch.ranking[row * batch.classes..<(row + 1) * batch.classes])
  precondition(order.sorted() == Array(0..<Int32(batch.classes)), "row \(row) has order \(order)")
  precondition(Array(order.prefix(batch.k)) == head, "order \(order) and classes \(head)")
  precondition(
    order[Int(batch.labelRanks[row])] == batch.labels[row],
    "label \(batch.labels[row]) of rank \(batch.labelRanks[row]) in order \(order)")
}

private func checkFullRows(_ batch: TeacherBatch, _ axes: SubspaceAxes?) {
  guard let axes else { return }
  var rows = TeacherBatch.fullRows(of: batch)
  axes.rebuild(batch, into: &rows, ordered: true)
  for gap in rows.gaps { precondition(gap >= 0 && gap.isFinite, "rebuilt gap \(gap)") }
}

private func checkEqual(_ a: TeacherBatch, _ b: TeacherBatch) {
  let same =
    a.count == b.count && a.classIDs == b.classIDs && a.gaps == b.gaps
    && a.largestLogits == b.largestLogits && a.labels == b.labels && a.labelGaps == b.labelGaps
    && a.labelRanks == b.labelRanks && a.logTailRatios == b.logTailRatios
    && a.meanTailGaps == b.meanTailGaps && a.featureNorms == b.featureNorms
    && a.ranking == b.ranking && a.places == b.places
  precondition(same, "records differ that should be equal")
}

#if FUZZING
  /// What libFuzzer calls with every input.
  @c(LLVMFuzzerTestOneInput)
  public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    do {
      try check(Array(UnsafeBufferPointer(start: start, count: count)))
    } catch {
      preconditionFailure("\(error)")
    }
    return 0
  }
#endif
