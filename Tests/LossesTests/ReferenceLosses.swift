import Foundation
import Losses

// Plain double-precision losses on dense rows: one formula after the other, nothing fused.

/// The mean over a batch of per-row losses and gradients.
func meanOverBatch(_ rows: [(loss: Double, gradient: [Double])]) -> ReferenceResult {
  let size = Double(rows.count)
  return ReferenceResult(
    loss: rows.reduce(0) { $0 + $1.loss } / size,
    gradient: rows.map { $0.gradient.map { $0 / size } })
}

func referenceCrossEntropy(
  _ student: [[Double]], labels: [Int], partners: [Int] = [], shares: [Double] = []
) -> ReferenceResult {
  meanOverBatch(
    student.indices.map { b in
      let logQ = logSoftmax(student[b])
      var target = [Double](repeating: 0, count: logQ.count)
      target[labels[b]] += partners.isEmpty ? 1 : shares[b]
      if !partners.isEmpty { target[partners[b]] += 1 - shares[b] }
      return (
        -zip(target, logQ).reduce(0) { $0 + ($1.0 == 0 ? 0 : $1.0 * $1.1) },
        zip(logQ, target).map { exp($0) - $1 }
      )
    })
}

enum ReferenceKDTail: String {
  case uniform, bucket
  /// Head probabilities divided by their sum, zero outside: a known bad choice.
  case renormTeacher = "renorm_teacher"
  /// Softmax of both over the head only: a known wrong choice.
  case renormBoth = "renorm_both"
}

func referenceKD(
  _ student: [[Double]], _ teacher: [ReferenceRecord], temperature t: Double,
  tail: ReferenceKDTail = .uniform
) -> ReferenceResult {
  meanOverBatch(
    zip(student, teacher).map { row, record in
      switch tail {
      case .uniform:
        divergence(
          record.uniformLogProbabilities(classes: row.count, temperature: t), row, t)
      case .renormTeacher:
        divergence(
          spread(logSoftmax(record.logits, temperature: t), record.ids, row.count), row, t)
      case .renormBoth: headDivergence(record, row, t)
      case .bucket: bucketDivergence(record, row, t)
      }
    })
}

/// `values` at `ids`, -infinity elsewhere.
private func spread(_ values: [Double], _ ids: [Int], _ classes: Int) -> [Double] {
  var result = [Double](repeating: -.infinity, count: classes)
  for (value, id) in zip(values, ids) { result[id] = value }
  return result
}

/// T^2 sum P (log P - log q) and T (q - P).
private func divergence(_ logP: [Double], _ row: [Double], _ t: Double) -> (Double, [Double]) {
  let logQ = logSoftmax(row, temperature: t)
  let loss = zip(logP, logQ).reduce(0) {
    exp($1.0) == 0 ? $0 : $0 + exp($1.0) * ($1.0 - $1.1)
  }
  return (t * t * loss, zip(logP, logQ).map { t * (exp($1) - exp($0)) })
}

private func headDivergence(_ record: ReferenceRecord, _ row: [Double], _ t: Double)
  -> (Double, [Double])
{
  let (loss, slope) = divergence(
    logSoftmax(record.logits, temperature: t), record.ids.map { row[$0] }, t)
  var gradient = [Double](repeating: 0, count: row.count)
  for (value, id) in zip(slope, record.ids) { gradient[id] = value }
  return (loss, gradient)
}

private func bucketDivergence(_ record: ReferenceRecord, _ row: [Double], _ t: Double)
  -> (Double, [Double])
{
  let logQ = logSoftmax(row, temperature: t)
  let shares = record.logShares(temperature: t)
  let outside = row.indices.filter { !record.isKept($0) }
  let logTail = logSumExp(outside.map { logQ[$0] })
  var loss = 0.0
  var gradient = logQ.map { t * exp($0) }
  for (j, id) in record.ids.enumerated() where exp(shares.head[j]) > 0 {
    loss += exp(shares.head[j]) * (shares.head[j] - logQ[id])
    gradient[id] -= t * exp(shares.head[j])
  }
  let mass = exp(shares.tail)
  if mass > 0 { loss += mass * (shares.tail - logTail) }
  for c in outside { gradient[c] -= t * mass * exp(logQ[c] - logTail) }
  return (t * t * loss, gradient)
}

/// Student minus teacher, the teacher's tail at its mean or left out.
private func differences(_ row: [Double], _ record: ReferenceRecord, tail: MSETail) -> [Double] {
  var result = row.map { tail == .mean ? $0 - record.tailMean : 0 }
  for (id, logit) in zip(record.ids, record.logits) { result[id] = row[id] - logit }
  return result
}

func referenceKDLimit(_ student: [[Double]], _ teacher: [ReferenceRecord]) -> ReferenceResult {
  meanOverBatch(
    zip(student, teacher).map { row, record in
      let d = differences(row, record, tail: .mean)
      let mean = d.reduce(0, +) / Double(d.count)
      let size = Double(row.count)
      return (
        d.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (2 * size), d.map { ($0 - mean) / size }
      )
    })
}

func referenceMSE(_ student: [[Double]], _ teacher: [ReferenceRecord], tail: MSETail = .mean)
  -> ReferenceResult
{
  meanOverBatch(
    zip(student, teacher).map { row, record in
      let d = differences(row, record, tail: tail)
      let size = Double(row.count)
      return (d.reduce(0) { $0 + $1 * $1 } / size, d.map { 2 * $0 / size })
    })
}

func referencePLD(
  _ student: [[Double]], _ teacher: [ReferenceRecord], temperature t: Double,
  tail: PLDTail = .drop
) -> ReferenceResult {
  meanOverBatch(
    zip(student, teacher).map { row, record in
      let shares = record.logShares(temperature: t)
      let logAll = record.logits[0] / t - shares.head[0]
      let placed = [record.label] + record.ids.filter { $0 != record.label }
      var alpha: [Int: Double] = [record.label: exp(record.labelLogit / t - logAll)]
      for (j, id) in record.ids.enumerated() { alpha[id] = exp(shares.head[j]) }
      let outside = row.indices.filter { !placed.contains($0) }
      var mass = exp(shares.tail)
      if !record.isKept(record.label) { mass = max(mass - alpha[record.label]!, 0) }

      var loss = 0.0
      var gradient = [Double](repeating: 0, count: row.count)
      for (r, id) in placed.enumerated() {
        let suffix = placed[r...] + outside
        let total = logSumExp(suffix.map { row[$0] })
        loss += alpha[id]! * (total - row[id])
        for c in suffix { gradient[c] += alpha[id]! * exp(row[c] - total) }
        gradient[id] -= alpha[id]!
      }
      if tail == .uniform && !outside.isEmpty {
        let n = Double(outside.count)
        let total = logSumExp(outside.map { row[$0] })
        let mean = outside.reduce(0) { $0 + row[$1] } / n
        loss += mass * (total - mean + lgamma(n + 1) / n - log(n))
        for c in outside { gradient[c] += mass * (exp(row[c] - total) - 1 / n) }
      }
      return (loss, gradient)
    })
}

func referenceDKD(
  _ student: [[Double]], _ teacher: [ReferenceRecord], temperature t: Double, alpha: Double,
  beta: Double
) -> ReferenceResult {
  meanOverBatch(
    zip(student, teacher).map { row, record in
      let y = record.label
      let others = row.indices.filter { $0 != y }
      let logP = dkdTeacher(record, classes: row.count, temperature: t)
      func split(_ logits: [Double]) -> (own: Double, rest: Double, among: [Double]) {
        let rest = logSumExp(others.map { logits[$0] })
        let all = logSumExp([logits[y], rest])
        return (logits[y] - all, rest - all, others.map { logits[$0] - rest })
      }
      let (p, q) = (split(logP), split(row.map { $0 / t }))
      var binary = 0.0
      if exp(p.own) > 0 { binary += exp(p.own) * (p.own - q.own) }
      if exp(p.rest) > 0 { binary += exp(p.rest) * (p.rest - q.rest) }
      var among = 0.0
      var gradient = [Double](repeating: 0, count: row.count)
      let difference = exp(q.own) - exp(p.own)
      gradient[y] = t * alpha * difference
      for (j, c) in others.enumerated() {
        if exp(p.among[j]) > 0 { among += exp(p.among[j]) * (p.among[j] - q.among[j]) }
        gradient[c] =
          t
          * (beta * (exp(q.among[j]) - exp(p.among[j])) - alpha * difference * exp(q.among[j]))
      }
      return (t * t * (alpha * binary + beta * among), gradient)
    })
}

/// log of the teacher's weights with the tail spread over the classes that are not the label.
private func dkdTeacher(_ record: ReferenceRecord, classes: Int, temperature t: Double)
  -> [Double]
{
  var result = record.uniformLogProbabilities(classes: classes, temperature: t)
  guard !record.isKept(record.label) else { return result }
  let shares = record.logShares(temperature: t)
  let own = record.labelLogit / t - (record.logits[0] / t - shares.head[0])
  let rest = max(exp(shares.tail) - exp(own), 0)
  let n = Double(classes - record.ids.count - 1)
  for c in 0..<classes where !record.isKept(c) { result[c] = n > 0 ? log(rest / n) : -.infinity }
  result[record.label] = own
  return result
}

func referenceDIST(
  _ student: [[Double]], _ teacher: [ReferenceRecord], settings: DISTSettings
) -> ReferenceResult {
  let tau = Double(settings.temperature)
  let (rows, classes) = (student.count, student[0].count)
  let ys = student.map { logSoftmax($0, temperature: tau).map { exp($0) } }
  let yt = teacher.map {
    $0.uniformLogProbabilities(classes: classes, temperature: tau).map { exp($0) }
  }
  let strength = settings.scalesByTemperatureSquared ? tau * tau : 1
  var loss = strength * (settings.beta + settings.gamma)
  var slopes = [[Double]](repeating: [Double](repeating: 0, count: classes), count: rows)
  for b in 0..<rows {
    let (rho, slope) = correlation(ys[b], yt[b], epsilon: settings.epsilon)
    let pull = strength * settings.beta / Double(rows)
    loss -= pull * rho
    for c in 0..<classes { slopes[b][c] -= pull * slope[c] }
  }
  for c in 0..<classes {
    let (rho, slope) = correlation(
      ys.map { $0[c] }, yt.map { $0[c] }, epsilon: settings.epsilon)
    let pull = strength * settings.gamma / Double(classes)
    loss -= pull * rho
    for b in 0..<rows { slopes[b][c] -= pull * slope[b] }
  }
  let gradient = (0..<rows).map { b in
    let mean = zip(slopes[b], ys[b]).reduce(0) { $0 + $1.0 * $1.1 }
    return (0..<classes).map { ys[b][$0] * (slopes[b][$0] - mean) / tau }
  }
  return ReferenceResult(loss: loss, gradient: gradient)
}

/// rho(a, b) and drho/da.
private func correlation(_ a: [Double], _ b: [Double], epsilon: Double) -> (Double, [Double]) {
  func centred(_ values: [Double]) -> [Double] {
    let mean = values.reduce(0, +) / Double(values.count)
    return values.map { $0 - mean }
  }
  func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
  let (ac, bc) = (centred(a), centred(b))
  let (na, nb) = (norm(ac), norm(bc))
  let product = zip(ac, bc).reduce(0) { $0 + $1.0 * $1.1 }
  let denominator = na * nb + epsilon
  let slope = zip(ac, bc).map { x, y in
    y / denominator - (na == 0 ? 0 : product * nb * x / na / (denominator * denominator))
  }
  return (product / denominator, centred(slope))
}

/// ND; with `teacherNorms` nil the cosine to the class mean.
func referenceNormDirection(
  _ student: [[Double]], teacherNorms: [Double]?, classMeans: [[Double]], labels: [Int]
) -> ReferenceResult {
  func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
  return meanOverBatch(
    student.indices.map { b in
      let (f, mean) = (student[b], classMeans[labels[b]])
      let norm = dot(f, f).squareRoot()
      let reference = teacherNorms?[b] ?? 0
      let largest = max(norm, reference)
      let length = dot(mean, mean).squareRoot()
      guard largest > 0 && length > 0 else { return (1, f.map { _ in 0 }) }
      let e = mean.map { $0 / length }
      let along = dot(f, e)
      let gradient = f.indices.map { d in
        norm >= reference
          ? -(e[d] / norm - along * f[d] / (norm * norm * norm)) : -e[d] / reference
      }
      return (1 - along / largest, gradient)
    })
}
