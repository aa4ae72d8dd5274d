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
        DescribeAgain = "describe again": "the program prints its description again, the same";
        DescribeWithCase = "describe with case":
            "the same while the case's device is requested too";
        StatementsAgree = "statements agree":
            "all descriptions that state an off value state the same one";
        InitialAccepted = "initial accepted": "each model accepts its own initial values";
        Make = "make": "request the case's device; the program creates it";
        Refuse = "refuse": "request the case's device; the program refuses it and creates nothing";
        Status = "status": "a refusal has exit status 1, or an error of JSON-RPC";
        Named = "named": "the error of a refusal names the parameter that it is about";
        ReadBack = "read back": "the program describes the device as it was requested";
        Delete = "delete": "delete the device";
        MakeOther = "make other": "request the case's other device; the program creates it";
        Change = "change":
            "request a change of each parameter of the device; the program refuses it";
        MakeAgain = "make again":
            "another device is asked for under the name of this one, and refused";
        Unchanged = "unchanged": "the program describes the device as before";
        RefuseAnother = "refuse another":
            "another device is asked for under a third name, with an unknown parameter, and refused";
        MakeBeside = "make beside":
            "request the case's other device under a second name; the program creates it";
        ReadBackBeside = "read back beside": "the program describes that device as it was requested";
        DeleteBeside = "delete beside": "delete the device under the second name";
        NewClient = "new client": "disconnect from the control socket, and connect again";
        NothingLeft = "nothing left": "the program lists no device";
        Attach = "attach": "use the created device's connection for its state";
        Detach = "detach": "close that connection";
        Start = "start": "start the requested device";
        StartOther = "start other": "start the case's other device";
        StartPeer = "start peer": "start the other program's device";
        StartElsewhere = "start elsewhere": "start the device with another port";
        Save = "save": "save the device's state";
        Load = "load": "load the state that was saved last; the device accepts it";
        RefuseState = "refuse state":
            "the state that was saved last is loaded, and refused before anything runs";
        Same = "same": "the last two saved states are the same";
        Golden = "golden": "use the golden state in place of a saved one";
        Look = "look": "remember what a guest can read of the device";
        SameLook = "same look": "a guest reads of the device what was remembered";
    }
}
