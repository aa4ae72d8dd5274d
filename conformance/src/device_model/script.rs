//! The steps of a test of a device model.
//!
//! **Invariant.** A step has no expectation of its own but the one that its name says; what a case should
//! be is computed from the description.

use crate::harness::steps::steps;

steps! {
    /// A step.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Step in () {
        Describe = "describe":
            "the description is printed, exit status 0, and can be read";
        DescribeAgain = "describe again": "it is printed once more, the same";
        DescribeWithCase = "describe with case": "the same while the case is asked for besides";
        StatementsAgree = "statements agree": "all that state an off value state the same";
        InitialAccepted = "initial accepted": "each model accepts its own initial values";
        Make = "make": "the case is asked for, and made";
        Refuse = "refuse": "the case is asked for, and refused: nothing is made";
        Status = "status": "a refusal has exit status 1, or an error of JSON-RPC";
        Named = "named": "the error of a refusal names what it is about";
        ReadBack = "read back": "what was made is described as what was asked for";
        Delete = "delete": "the device is deleted";
        MakeOther = "make other": "the other of the case is asked for, and made";
        Change = "change": "a change of each parameter of the device is asked for, and refused";
        MakeAgain = "make again":
            "another device is asked for under the name of this one, and refused";
        Unchanged = "unchanged": "the device is described as before";
        Start = "start": "the device that is asked for runs";
        StartOther = "start other": "the other of the case runs";
        StartPeer = "start peer": "the peer's device runs";
        StartElsewhere = "start elsewhere": "the device runs with another port";
        Save = "save": "its state is saved";
        Load = "load": "the state that was saved last is loaded, and accepted";
        RefuseState = "refuse state":
            "the state that was saved last is loaded, and refused before anything runs";
        Same = "same": "the last two states are the same";
        Golden = "golden": "the golden state takes the place of one that was saved";
        Look = "look": "what a guest can read of the device is remembered";
        SameLook = "same look": "what a guest can read of the device is as it was remembered";
    }
}
