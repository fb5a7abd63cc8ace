/// How KD completes a teacher of which only the head is known.
public enum KDTail: String, Hashable, Sendable {
  /// The tail mass is spread evenly over the C - k other classes.
  case uniform
  /// The tail counts as one class, for the teacher and for the student.
  case bucket
}

/// How PLD treats the classes whose order is not known.
public enum PLDTail: String, Hashable, Sendable {
  /// They only stand in the denominators: a lower bound of the loss.
  case drop
  /// Every order of them is equally likely: adds the mean over orders.
  case uniform
}

/// How MSE treats the classes outside the head.
public enum MSETail: String, Hashable, Sendable {
  /// Their teacher logits are the tail's mean (`TeacherBatch.meanTailGap`).
  case mean
  /// They are left out of the sum, which is still divided by B C.
  case drop
}

/// The settings of DIST (Huang and others 2022, arXiv:2205.10536).
public struct DISTSettings: Hashable, Sendable {
  /// tau > 0, of teacher and student alike.
  public var temperature: Float
  /// beta, the weight of the relation between classes (rows).
  public var beta: Double
  /// gamma, the weight of the relation within a class over the batch (columns).
  public var gamma: Double
  /// Added to the product of norms in the correlation.
  public var epsilon: Double
  /// Whether both parts are multiplied by tau^2, as the authors' code does (their paper's
  /// pseudo-code does not).
  public var scalesByTemperatureSquared: Bool

  /// Makes settings; the defaults are those of the authors' code.
  public init(
    temperature: Float = 1, beta: Double = 1, gamma: Double = 1, epsilon: Double = 1e-8,
    scalesByTemperatureSquared: Bool = true
  ) {
    self.temperature = temperature
    self.beta = beta
    self.gamma = gamma
    self.epsilon = epsilon
    self.scalesByTemperatureSquared = scalesByTemperatureSquared
  }
}

/// One term of a weighted sum of losses; every loss is a mean over the batch.
public enum LossTerm: Hashable, Sendable {
  /// Cross-entropy with the true label (or the two labels of a mixed view).
  case crossEntropy(weight: Double = 1)
  /// T^2 KL(teacher || student) at temperature T; T = infinity is its limit, half the centred mean
  /// squared difference of logits. Hinton et al. 2015, arXiv:1503.02531.
  case kd(weight: Double = 1, temperature: Float = 1, tail: KDTail = .uniform)
  /// Mean squared difference of logits over B C. Kim et al. 2021, arXiv:2105.08919.
  case mse(weight: Double = 1, tail: MSETail = .mean)
  /// Correlations of softmax rows and columns.
  case dist(weight: Double = 1, DISTSettings = DISTSettings())
  /// Plackett-Luce ranking with the label first; T softens the teacher's weights only.
  case pld(weight: Double = 1, temperature: Float = 1, tail: PLDTail = .drop)
  /// alpha TCKD + beta NCKD. Zhao et al. 2022, arXiv:2203.08679.
  case dkd(weight: Double = 1, temperature: Float = 1, alpha: Double = 1, beta: Double = 8)
  /// Norm and direction of the student's features (`FeatureLoss`).
  case normDirection(weight: Double = 1)
  /// 1 - cosine of the student's feature and its class mean (`FeatureLoss`).
  case classMeanCosine(weight: Double = 1)

  /// The factor in the weighted sum.
  public var weight: Double {
    switch self {
    case .crossEntropy(let weight), .kd(let weight, _, _), .mse(let weight, _),
      .dist(let weight, _), .pld(let weight, _, _), .dkd(let weight, _, _, _),
      .normDirection(let weight), .classMeanCosine(let weight):
      weight
    }
  }

  /// The temperature of teacher probabilities; nil for terms that use none.
  public var temperature: Float? {
    switch self {
    case .kd(_, let temperature, _), .pld(_, let temperature, _),
      .dkd(_, let temperature, _, _):
      temperature
    case .dist(_, let settings): settings.temperature
    case .crossEntropy, .mse, .normDirection, .classMeanCosine: nil
    }
  }

  /// Whether the term compares logits with the teacher's; only these are warmed up.
  public var comparesLogits: Bool {
    switch self {
    case .kd, .mse, .dist, .pld, .dkd: true
    case .crossEntropy, .normDirection, .classMeanCosine: false
    }
  }

  /// Whether the term reads features instead of logits.
  public var comparesFeatures: Bool {
    switch self {
    case .normDirection, .classMeanCosine: true
    case .crossEntropy, .kd, .mse, .dist, .pld, .dkd: false
    }
  }

  /// Whether the head and the tail mass alone do not determine the term's gradient well, so that
  /// all C logits should be known: MSE, the limit of KD, DIST's columns.
  public var wantsFullRows: Bool {
    switch self {
    case .mse: true
    case .kd(_, let temperature, _): temperature == .infinity
    case .dist(_, let settings): settings.gamma != 0
    case .crossEntropy, .pld, .dkd, .normDirection, .classMeanCosine: false
    }
  }

  /// Whether the term reads full rows where a cache can rebuild them.
  ///
  /// All do that compare logits at a temperature above 1, and those that want full rows. At 1 and below,
  /// nearly all of the teacher's mass is in the head.
  public var usesFullRows: Bool {
    wantsFullRows || (comparesLogits && (temperature ?? 1) > 1)
  }

  /// Whether the term reads the order of all classes where a cache keeps it (`TeacherBatch.ranking`).
  public var usesRanking: Bool {
    if case .pld = self { true } else { false }
  }

  /// Whether the term needs the classes of a full row in the teacher's order.
  var readsOrder: Bool {
    switch self {
    case .pld, .dkd: true
    case .crossEntropy, .kd, .mse, .dist, .normDirection, .classMeanCosine: false
    }
  }
}
