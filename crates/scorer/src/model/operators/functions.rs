//! Functions that tract computes otherwise than onnxruntime: of what is not a number, of infinities, of far
//! numbers, or in single precision only.

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::tract_core::ops::math::tanh;
use tract_onnx::tract_hir::tract_core::ops::nn::sigmoid;

use super::attributes::{Attributes, Built};
use super::function::{Function, function};

pub(super) fn register(register: &mut OnnxOpRegister) {
    register.insert("Acosh", |_, _| acosh().built());
    register.insert("Asinh", |_, _| asinh().built());
    register.insert("Celu", |_, node| {
        celu(parameter(node, "alpha", 1.0)).built()
    });
    register.insert("Erf", |_, _| {
        Function::floating("Erf", libm::erff, libm::erf).built()
    });
    register.insert("Gelu", gelu);
    register.insert("HardSigmoid", |_, node| {
        let (alpha, beta) = (parameter(node, "alpha", 0.2), parameter(node, "beta", 0.5));
        function!("HardSigmoid", |x, alpha, beta| within(
            alpha * x + beta,
            0.0,
            1.0
        ))
        .built()
    });
    register.insert("HardSwish", |_, _| {
        let sixth = 1.0 / 6.0;
        function!("HardSwish", |x, sixth| x * within(
            x * sixth + 0.5,
            0.0,
            1.0
        ))
        .built()
    });
    register.insert("Relu", |_, _| {
        let relu = function!("Relu", |x| if x < 0.0 { 0.0 } else { x });
        relu.or_whole(|x| x.max(0)).built()
    });
    register.insert("Sigmoid", |_, _| {
        function!("Sigmoid", |x| 1.0 / (1.0 + (-x).exp()))
            .by_kernel(sigmoid)
            .built()
    });
    register.insert("Softplus", |_, _| {
        function!("Softplus", |x| if x > 0.0 {
            x + (-x).exp().ln_1p()
        } else {
            x.exp().ln_1p()
        })
        .built()
    });
    register.insert("Swish", |_, node| {
        let alpha = parameter(node, "alpha", 1.0);
        function!("Swish", |x, alpha| x / (1.0 + (-alpha * x).exp())).built()
    });
    register.insert("Tanh", |_, _| {
        function!("Tanh", |x| x.tanh()).by_kernel(tanh).built()
    });
}

fn parameter(node: &NodeProto, name: &str, default: f32) -> f64 {
    f64::from(Attributes(node).number(name).unwrap_or(default))
}

/// The nearest number from `low` to `high`. NaN stays NaN.
pub(super) fn within<T: PartialOrd>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// From here on the square that both inverse functions take may overflow, and adds nothing.
const FAR: f64 = 1e9;

fn acosh() -> Function {
    let (far, ln_2) = (FAR, std::f64::consts::LN_2);
    function!("Acosh", |x, far, ln_2| if x > far {
        x.ln() + ln_2
    } else {
        x.acosh()
    })
}

fn asinh() -> Function {
    let (far, ln_2) = (FAR, std::f64::consts::LN_2);
    function!("Asinh", |x, far, ln_2| if x.abs() > far {
        (x.abs().ln() + ln_2).copysign(x)
    } else {
        x.asinh()
    })
}

fn celu(alpha: f64) -> Function {
    function!("Celu", |x, alpha| if x > 0.0 {
        x
    } else {
        alpha * (x / alpha).exp_m1()
    })
}

fn gelu(_: &ParsingContext, node: &NodeProto) -> Built {
    if Attributes(node).text("approximate") == Some("tanh") {
        let root = (2.0 / std::f64::consts::PI).sqrt();
        let bent = 0.044715;
        let inner = function!("Gelu", |x, root, bent| {
            0.5 * x * (1.0 + (root * (x + bent * x * x * x)).tanh())
        });
        return inner.built();
    }
    let root = std::f64::consts::FRAC_1_SQRT_2;
    let single = move |x: f32| 0.5 * x * (1.0 + libm::erff(x * root as f32));
    let double = move |x: f64| 0.5 * x * (1.0 + libm::erf(x * root));
    Function::floating("Gelu", single, double).built()
}
