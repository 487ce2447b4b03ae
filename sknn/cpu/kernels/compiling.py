"""Compilation of kernels to machine code, with only those of Numba's passes that kernels need.

A kernel and its helpers use numbers, vectors and tiles: no Python objects, no arrays, no
exceptions. So most of what Numba does for a function can be left out. Moreover, helpers are not
compiled to machine code on their own: their modules are linked into the module of the kernel, which
is compiled with its helpers inlined.

Only this file and ``cache.py`` depend on private classes of Numba.
"""

import inspect

from llvmlite import ir
from numba.core import compiler, typed_passes, types, untyped_passes
from numba.core.analysis import dead_branch_prune
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_machinery import (
    FunctionPass,
    LoweringPass,
    PassManager,
    register_pass,
)
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.transforms import canonicalize_cfg
from numba.core.typing.templates import AbstractTemplate, infer_global, signature


@register_pass(mutates_CFG=False, analysis_only=False)
class _Translation(FunctionPass):
    """From bytecode to typed instructions, without looking everything over after each step."""

    _name = "sknn_translation"

    def __init__(self):
        FunctionPass.__init__(self)

    def run_pass(self, state):
        for one in untyped_passes.TranslateByteCode, untyped_passes.FixupArgs:
            one().run_pass(state)
        state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        dead_branch_prune(state.func_ir, state.args)
        untyped_passes.ReconstructSSA().run_pass(state)
        for one in typed_passes.NopythonTypeInference, typed_passes.PreLowerStripPhis:
            one().run_pass(state)
        return True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Lowering(LoweringPass):
    """From there to LLVM's instructions."""

    _name = "sknn_lowering"

    def __init__(self):
        LoweringPass.__init__(self)

    def run_pass(self, state):
        for one in (
            typed_passes.IRLegalization, typed_passes.NativeLowering, typed_passes.NoPythonBackend
        ):  # fmt: skip
            one().run_pass(state)
        return True


class _Compiler(compiler.CompilerBase):
    def define_pipelines(self):
        manager = PassManager("kernel")
        for one in _Translation, _Lowering:
            manager.add_pass(one, one._name)
        manager.finalize()
        return [manager]


class Library(JITCodeLibrary):
    """The module of one function, and after :meth:`make` its machine code."""

    @classmethod
    def loaded(cls, name, code):
        """Return the library whose machine code is known already."""
        library = cls(cpu_target.target_context.codegen(), name)
        library.enable_object_caching()
        library._set_compiled_object(code)
        library._finalize_final_module()
        return library

    def add_linking_library(self, library):
        if isinstance(library, Library):
            self._linking_libraries.append(library)
        elif library is not rtsys.library:  # for objects that count their references
            super().add_linking_library(library)

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)

    def _all_linked(self):
        """Return all that this one needs, those that need others behind these."""
        found = {}
        for library in self._linking_libraries:
            if isinstance(library, Library):
                found |= library._all_linked()
            found[library] = None
        return found

    def make(self, entry):
        """Link, optimize and compile the module, of which `entry` remains visible; return the code.

        Closures of different kernels may have the same names, and of two symbols of one name the
        linker takes the first for both.
        """
        for library in reversed(self._all_linked()):
            one_of_ours = isinstance(library, Library)
            module = library._final_module if one_of_ours else library._get_module_for_linking()
            self._final_module.link_in(module, preserve=True)
        for symbols in self._final_module.functions, self._final_module.global_variables:
            for symbol in symbols:
                if not symbol.is_declaration and symbol.name != entry:
                    symbol.linkage = "internal"
                    if symbol.is_function:
                        symbol.add_function_attribute("alwaysinline")
        self._optimize_final_module()
        self._final_module.verify()
        self.enable_object_caching()
        self._finalize_final_module()
        return self._get_compiled_object()

    def address(self, entry):
        """Return the address of a function that has become machine code."""
        return self._codegen._engine.get_function_address(entry)


def _compile(function, arguments, result, name):
    """Return a library with a function's module, and what Numba knows of it."""
    flags, context = compiler.Flags(), cpu_target.target_context
    cpu_target.options.parse_as_flags(flags, {"error_model": "numpy"})
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    library = Library(context.codegen(), name)
    compiled = compiler.compile_extra(
        cpu_target.typing_context, context, function, arguments, result, flags, locals={},
        library=library, pipeline_class=_Compiler,
    )  # fmt: skip
    return library, compiled


def register_jitable(function):
    """Have kernels call a function: for the types of the arguments, which are all positional."""
    n_arguments, compiled = len(inspect.signature(function).parameters), {}

    class Helper(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            if kws or len(args) != n_arguments:
                return None
            if args not in compiled:
                library, made = _compile(function, args, None, function.__qualname__)
                compiled[args] = made.signature.return_type
                cpu_target.target_context.insert_user_function(function, made.fndesc, [library])
            return signature(compiled[args], *args)

    infer_global(function, types.Function(Helper))
    return function


def compile_kernel(function, arguments, symbol):
    """Compile a function without a result for C to call by the name `symbol`.

    Return its library and machine code.
    """
    library, compiled = _compile(function, arguments, types.void, symbol)
    context, inner = cpu_target.target_context, compiled.fndesc
    module = context.create_module(symbol)
    callee = ir.Function(
        module, context.call_conv.get_function_type(types.void, arguments), inner.llvm_func_name
    )
    wrapper = ir.Function(
        module,
        ir.FunctionType(ir.VoidType(), [context.get_value_type(t) for t in arguments]),
        symbol,
    )
    builder = ir.IRBuilder(wrapper.append_basic_block("entry"))
    context.call_conv.call_function(builder, callee, types.void, arguments, wrapper.args)
    builder.ret_void()
    library.add_ir_module(module)
    return library, library.make(symbol)
