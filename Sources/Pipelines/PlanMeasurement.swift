import Basics
import LogitCache
import Losses

/// What one group of rows came to.
struct MeasuredGroup: Sendable {
  /// What one choice makes of the rows.
  struct Choice: Sendable {
    var blocks: [MeasuredBlock] = []
    var seconds = 0.0
  }

  var records = 0
  /// Views of samples.
  var samples = 0
  var teacherSeconds = 0.0
  var choices: [Choice] = []
}

extension PlanSample {
  /// The first groups to be measured: those that are learned from when others wait for them, else all.
  fileprivate func firstGroups(_ choices: [PlannedChoice]) -> Range<Int> {
    0..<(choices.contains { $0.choice.subspaceTail != nil } ? learningGroups : groups.count)
  }

  /// How many groups may be measured at once.
  func groupsAtOnce(_ choices: [PlannedChoice]) -> Int {
    let first = firstGroups(choices).count
    return max(first, groups.count - first)
  }
}

/// Runs the teacher over the sample, group by group, measures every group with every choice, and lets the choices learn.
///
/// With a subspace tail among them, the groups that are not learned from wait for those that are. Its own blocks of
/// the latter are not part of the result: they have no coefficients. Where these groups have too few records for
/// axes, tails are left out of the choices, with a note.
func measure(
  _ sample: PlanSample, _ choices: inout [PlannedChoice], _ work: TeacherWork,
  notes: inout [String]
) throws -> [MeasuredGroup] {
  let (learning, count) = (sample.learningGroups, sample.groups.count)
  var progress = ProgressLine(
    "plan", unit: "group of views", plural: "groups of views", total: count)
  defer { progress.clear() }
  let first = sample.firstGroups(choices)
  var groups = try measure(first, of: sample, choices, work, &progress)
  let withoutAxes = try learn(&choices, from: groups[..<learning])
  if !withoutAxes.isEmpty {
    notes.append(noteOfNoAxes)
    let kept = choices.indices.filter { !withoutAxes.contains($0) }
    choices = kept.map { choices[$0] }
    for group in groups.indices {
      groups[group].choices = kept.map { groups[group].choices[$0] }
    }
  }
  let tails = choices.indices.filter { choices[$0].choice.subspaceTail != nil }
  for group in groups.indices {
    for tail in tails { groups[group].choices[tail] = MeasuredGroup.Choice() }
  }
  return try groups + measure(first.upperBound..<count, of: sample, choices, work, &progress)
}

/// Lets all choices learn.
///
/// - Returns: the places of subspace tails that found too few rows for axes: views may have no records.
private func learn(
  _ choices: inout [PlannedChoice], from groups: ArraySlice<MeasuredGroup>
) throws -> [Int] {
  var withoutAxes: [Int] = []
  for index in choices.indices {
    let source = choices[index].learnsFrom
    do {
      try choices[index].learn(from: groups.map { $0.choices[source] })
    } catch let problem as Problem
      where problem.kind == .configuration && choices[index].choice.subspaceTail != nil
    {
      withoutAxes.append(index)
    }
  }
  return withoutAxes
}

private func measure(
  _ groups: Range<Int>, of sample: PlanSample, _ choices: [PlannedChoice], _ work: TeacherWork,
  _ progress: inout ProgressLine
) throws -> [MeasuredGroup] {
  if groups.isEmpty { return [] }
  let samples = sample.groups.map { $0.reduce(0) { $0 + $1.samples.count } }.max() ?? 0
  let queue = OrderedResults<MeasuredGroup>(count: groups.count, ahead: groups.count)
  queue.start(threads: min(sample.threads, groups.count)) {
    var held = try TeacherRows(
      work.teacher, work.augmenter, samples: samples, work.manifest.encoding)
    return { try measure(groups.lowerBound + $0, of: sample, choices, work, &held) }
  }
  defer { queue.cancel() }
  return try groups.map { done in
    if Interruption.isRequested {
      throw Interruption.problem(
        after: "\(done) of \(counted(sample.groups.count, "group")) of views")
    }
    let group = try queue.next()
    progress.update(done: done + 1)
    return group
  }
}

private func measure(
  _ index: Int, of sample: PlanSample, _ choices: [PlannedChoice], _ work: TeacherWork,
  _ rows: inout TeacherRows
) throws -> MeasuredGroup {
  var group = MeasuredGroup()
  let clock = ContinuousClock()
  let start = clock.now
  rows.clear()
  for run in sample.groups[index] {
    let (before, samplesBefore) = (rows.count, rows.places?.samples ?? 0)
    try rows.add(run.samples, view: run.view)
    let places = rows.places.map { $0.part(samplesBefore..<$0.samples) }
    try check(run, from: before, places, rows, work)
    group.samples += run.samples.count
  }
  group.records = rows.count
  group.teacherSeconds = (clock.now - start).inSeconds
  let learning = sample.learningGroups
  for (place, choice) in choices.enumerated() {
    let isLearning = index < learning
    if isLearning && choice.learnsFrom != place {
      group.choices.append(MeasuredGroup.Choice())
      continue
    }
    let kept = isLearning ? choice.keptRows(ofGroup: index, of: learning) : nil
    group.choices.append(try choice.measure(rows, samples: group.samples, keptRows: kept))
  }
  return group
}

/// Refuses rows that cannot be recorded by their own sample and view; the choices know only places in the group.
private func check(
  _ run: PlanSample.Run, from first: Int, _ places: RowPlaces?, _ rows: borrowing TeacherRows,
  _ work: TeacherWork
) throws {
  let classes = work.manifest.encoding.classes
  let (count, labels) = (rows.count, rows.labels)
  try rows.logits.withUnsafeBufferPointer { logits in
    for row in first..<count {
      try BlockEncoder.check(
        UnsafeBufferPointer(rebasing: logits[row * classes..<(row + 1) * classes]),
        label: labels[row],
        RecordPlace(
          row: row - first, firstSample: run.samples.lowerBound, view: run.view, places))
    }
  }
}
